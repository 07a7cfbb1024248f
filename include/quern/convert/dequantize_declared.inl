// dequantize_declared.inl — dequantize_body.inl's functions for files that link quern::kernels.
template <class Src, class Dst>
void dequantize_line(Src const* src, Dst* dst, index_t n, float scale, std::int32_t zero_point);
template <class Src, class Dst>
void dequantize_columns(Src const* src, Dst* dst, index_t n, float const* scales, std::int32_t const* zeros);
