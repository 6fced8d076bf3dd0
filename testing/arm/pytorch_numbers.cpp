// The numbers by which PyTorch's stable C interface names types, layouts and devices. Only the types must be PyTorch's
// own, because emulated_operators.py sends and reads them.

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/c/shim.h>

#include "pytorch_shim.h"

extern "C" {

uint64_t aoti_torch_abi_version() { return TORCH_ABI_VERSION; }

#define CONSTANT(name, number) \
  int32_t aoti_torch_##name() { return number; }
CONSTANT(device_type_cpu, 0)
CONSTANT(device_type_cuda, 1)
CONSTANT(device_type_xpu, 12)
CONSTANT(device_type_mps, 13)
CONSTANT(device_type_meta, 14)
CONSTANT(device_type_privateuse1, 20)
CONSTANT(dtype_uint8, 0)
CONSTANT(dtype_int8, 1)
CONSTANT(dtype_int16, 2)
CONSTANT(dtype_int32, 3)
CONSTANT(dtype_int64, 4)
CONSTANT(dtype_float16, 5)
CONSTANT(dtype_float32, 6)
CONSTANT(dtype_float64, 7)
CONSTANT(dtype_complex32, 8)
CONSTANT(dtype_complex64, 9)
CONSTANT(dtype_complex128, 10)
CONSTANT(dtype_bool, 11)
CONSTANT(dtype_bfloat16, 15)
CONSTANT(dtype_float8_e5m2, 23)
CONSTANT(dtype_float8_e4m3fn, 24)
CONSTANT(dtype_float8_e5m2fnuz, 25)
CONSTANT(dtype_float8_e4m3fnuz, 26)
CONSTANT(dtype_uint16, 27)
CONSTANT(dtype_uint32, 28)
CONSTANT(dtype_uint64, 29)
CONSTANT(layout_strided, 0)
CONSTANT(layout_sparse_coo, 1)
CONSTANT(layout_sparse_csr, 2)
CONSTANT(layout__mkldnn, 3)
CONSTANT(layout_sparse_csc, 4)
CONSTANT(layout_sparse_bsr, 5)
CONSTANT(layout_sparse_bsc, 6)
CONSTANT(layout_jagged, 7)
CONSTANT(memory_format_contiguous_format, 0)
CONSTANT(memory_format_preserve_format, 1)
CONSTANT(memory_format_channels_last, 2)
CONSTANT(memory_format_channels_last_3d, 3)
#undef CONSTANT
int32_t torch_dtype_float8_e8m0fnu() { return 44; }
int32_t torch_dtype_float4_e2m1fn_x2() { return 45; }

size_t aoti_torch_dtype_element_size(int32_t dtype) { return shim::bytes_per_value(dtype); }

}  // extern "C"
