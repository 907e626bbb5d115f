# GPU kernels: the target qdqbert_cuda_kernels where nvcc is found. It knows nothing of LibTorch, so it is compiled and
# tested also where LibTorch has no CUDA; the rooms nn and train use it where it has.
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

add_library(qdqbert_cuda_kernels STATIC
  qdqbert/nn/kernels/dropout_cuda.cu qdqbert/nn/kernels/fake_quant_cuda.cu qdqbert/train/adamw_cuda.cu)
target_include_directories(qdqbert_cuda_kernels PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}>)
set_target_properties(qdqbert_cuda_kernels PROPERTIES CUDA_STANDARD 17 EXPORT_NAME cuda_kernels)
# No fused multiply-add that is not written, as on the CPU: the kernels have its bits.
target_compile_options(qdqbert_cuda_kernels PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>)
target_link_libraries(qdqbert_cuda_kernels PUBLIC $<LINK_ONLY:CUDA::cudart>)
message(STATUS "GPU kernels: compiled for ${CMAKE_CUDA_ARCHITECTURES}")

# qdqbert_cuda_sources(a.cc ...): these see the kernels and CUDA's headers, not all of their target.
function(qdqbert_cuda_sources)
  set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_DEFINITIONS QDQBERT_HAS_CUDA_KERNELS)
  set_property(SOURCE ${ARGN} APPEND PROPERTY INCLUDE_DIRECTORIES ${CUDAToolkit_INCLUDE_DIRS})
endfunction()
