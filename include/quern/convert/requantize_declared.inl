// requantize_declared.inl — requantize_body.inl's functions for files that link quern::kernels.
template <class P, class Src, class Dst>
std::int64_t requantize_line(Src const* src, Dst* dst, index_t n, typename P::parameters parameters, std::int32_t src_zero,
                             std::int32_t dst_zero, std::int32_t q_min, std::int32_t q_max, bool in_place);
template <class P, class Src, class Dst>
std::int64_t requantize_columns(Src const* src, Dst* dst, index_t rows, index_t n, index_t src_stride, index_t dst_stride,
                                typename P::parameters const* parameters, std::int32_t const* src_zeros,
                                std::int32_t const* dst_zeros, std::int32_t q_min, std::int32_t q_max, bool in_place);
