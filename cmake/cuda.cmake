# GPU kernels: the target qdqbert_cuda_kernels where nvcc is found. It knows nothing of LibTorch, so it is compiled and
# tested also where LibTorch has no CUDA; room nn uses it where it has.
if(NOT QDQBERT_WITH_CUDA)
  return()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  return()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75)  # and its PTX, which the driver compiles for everything newer
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

add_library(qdqbert_cuda_kernels STATIC qdqbert/nn/kernels/fake_quant_cuda.cu)
target_include_directories(qdqbert_cuda_kernels PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>)
set_target_properties(qdqbert_cuda_kernels PROPERTIES CUDA_STANDARD 17 EXPORT_NAME cuda_kernels)
target_link_libraries(qdqbert_cuda_kernels PUBLIC CUDA::cudart)
message(STATUS "GPU kernels: compiled for ${CMAKE_CUDA_ARCHITECTURES}")
