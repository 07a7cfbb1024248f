// quern.hpp — everything except quern/eigen/ and quern/compress/, which need Eigen.
#pragma once

#include "core/buffer.hpp"
#include "core/error.hpp"
#include "core/integers.hpp"
#include "core/math.hpp"
#include "core/packed_int.hpp"
#include "core/reals.hpp"
#include "core/saturate.hpp"
#include "core/type_list.hpp"
#include "core/views.hpp"
#include "cpu/report.hpp"
#include "rescale/rescales.hpp"
#include "round/modes.hpp"
#include "scheme/choose_params.hpp"
#include "scheme/schemes.hpp"
