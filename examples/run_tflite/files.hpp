// files.hpp — inputs from .npy, .csv, .bmp and raw files, tensors to .npy.
#pragma once

#include "model.hpp"

namespace run_tflite {

enum class pixels { raw, centred };  ///< a grey byte as it is, or minus 128, where the input is int8

std::vector<unsigned char> read_file(std::string const& path);
/// Fills a tensor's memory from a file; the extension says what it is, anything else is the tensor's raw bytes.
/// @throws failure when the file cannot be read, is damaged, or does not fit the tensor.
void read_input(std::string const& path, tensor const& t, pixels p, unsigned char* to);
/// A NumPy file, version 1.0.
void write_npy(std::string const& path, tensor const& t, unsigned char const* from);

}  // namespace run_tflite
