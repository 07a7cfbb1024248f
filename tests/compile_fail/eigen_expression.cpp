// expect: this Eigen expression has no memory of its own
#include <quern/eigen/view.hpp>

void see(Eigen::MatrixXf const& m) {
#ifdef MISTAKE
  (void)quern::view(2 * m);
#else
  (void)quern::view(m);
#endif
}
