// quantize_declared.inl — quantize_body.inl's functions for files that link quern::kernels.
template <class Form, class Src, class Dst, class Rounding>
conversion_counts quantize_rows(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding);
template <class Form, class Src, class Dst, class Rounding>
conversion_counts quantize_columns(quern::detail::quantize_task<Src, Dst> const& t, Rounding rounding);
