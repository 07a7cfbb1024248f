// convert.hpp — quantize, dequantize, requantize, dynamic_quantize.
#pragma once

#include "dequantize.hpp"
#include "dynamic_quantize.hpp"
#include "packed.hpp"
#include "quantize.hpp"
#include "requantize.hpp"
