// dequantize_declared.inl — dequantize_body.inl's functions for files that link quern::kernels.
template <class Src, class Dst>
bool dequantize_rows(quern::detail::dequantize_task<Src, Dst> const& t);
template <class Src, class Dst>
bool dequantize_columns(quern::detail::dequantize_task<Src, Dst> const& t);
