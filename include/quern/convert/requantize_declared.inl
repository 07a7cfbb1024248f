// requantize_declared.inl — requantize_body.inl's functions for files that link quern::kernels.
template <class P, class Src, class Dst>
std::int64_t requantize_rows(quern::detail::requantize_task<P, Src, Dst> const& t);
template <class P, class Src, class Dst>
std::int64_t requantize_columns(quern::detail::requantize_task<P, Src, Dst> const& t);
template <class P, class Src, class Dst>
std::int64_t requantize_ratios(quern::detail::ratio_task<P, Src, Dst> const& t);
