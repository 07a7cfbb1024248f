// expect: a view of a temporary Eigen matrix would dangle
#include <quern/eigen/view.hpp>

void see(Eigen::MatrixXf const& m) {
#ifdef MISTAKE
  (void)quern::view(Eigen::MatrixXf(2 * m));
#else
  (void)quern::view(m.topRows(1));
#endif
}
