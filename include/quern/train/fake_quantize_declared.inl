// fake_quantize_declared.inl — fake_quantize_body.inl's function for files that link quern::kernels, which has none: they do not call it.
template <class Form, class Rounding>
conversion_counts fake_quantize_line(float const* src, float* dst, index_t n, float scale, std::int32_t first, std::int32_t last);
