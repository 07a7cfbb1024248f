// quantize_declared.inl — quantize_body.inl's functions for files that link quern::kernels.
template <class Form, class Src, class Dst, class Rounding>
conversion_counts quantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point, std::int32_t q_min,
                                std::int32_t q_max, bool in_place, Rounding rounding, std::uint64_t index, index_t index_step);
template <class Form, class Src, class Dst, class Rounding>
conversion_counts quantize_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding);
