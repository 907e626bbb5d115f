# Finds LibTorch, 1.13 or newer, of a distribution or of a Python environment, for builds of qdqbert and for their users:
# the target qdqbert::libtorch is all that code which sees LibTorch needs.
if(TARGET qdqbert::libtorch)
  return()
endif()

# A LibTorch with CUDA names its runtime as torch::cudart. Its package looks for that with a compiler for GPUs and with
# the GPUs of this machine, and fails where one is missing; nothing here is compiled with what it finds. With a target of that
# name it looks for nothing, and its libraries know the runtime that they were delivered with.
if(NOT TARGET torch::cudart)
  add_library(torch::cudart INTERFACE IMPORTED)
endif()
# Its list of libraries, which is not used, names one that no wheel has, with a warning.
set(kineto_LIBRARY unused)
include(${CMAKE_CURRENT_LIST_DIR}/libprotobuf.cmake)
# Its targets are in a second package, and where only Torch_DIR was named, the one of the system would be found first: another
# LibTorch's libraries under these headers.
if(Torch_DIR AND EXISTS ${Torch_DIR}/../Caffe2/Caffe2Config.cmake)
  set(Caffe2_DIR ${Torch_DIR}/../Caffe2)
endif()
find_package(Torch 1.13 REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR "This LibTorch (${TORCH_INSTALL_PREFIX}) was built with the old C++ ABI; use one built with _GLIBCXX_USE_CXX11_ABI=1")
endif()

message(STATUS "LibTorch ${Torch_VERSION}: ${TORCH_INSTALL_PREFIX}")
add_library(qdqbert::libtorch INTERFACE IMPORTED)

# A LibTorch from PyPI brings headers of libraries that it contains. Those of fmt are another version than the one that our rooms
# are linked with, so the system's have to be found first.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
if(EXISTS ${TORCH_INSTALL_PREFIX}/include/fmt AND NOT fmt_include STREQUAL ${TORCH_INSTALL_PREFIX}/include)
  set(first ${CMAKE_BINARY_DIR}/before-libtorch)
  file(MAKE_DIRECTORY ${first})
  file(CREATE_LINK ${fmt_include}/fmt ${first}/fmt SYMBOLIC)
  target_include_directories(qdqbert::libtorch INTERFACE ${first})
endif()
target_include_directories(qdqbert::libtorch INTERFACE ${TORCH_INCLUDE_DIRS})
# Not ${TORCH_LIBRARIES}: its package looks for those in the directories of the system first, where another LibTorch may lie.
target_link_libraries(qdqbert::libtorch INTERFACE torch torch_library)
if(TARGET c10_cuda)
  target_link_libraries(qdqbert::libtorch INTERFACE c10_cuda)
endif()

# What a wheel's libraries need lies in wheels beside it, where their own run paths lead. The linker looks into the program's run
# paths before those, and a CUDA of the system there may have another NCCL.
file(GLOB beside_torch LIST_DIRECTORIES true ${TORCH_INSTALL_PREFIX}/../nvidia/*/lib)
foreach(directory ${beside_torch})
  target_link_options(qdqbert::libtorch INTERFACE -Wl,-rpath-link,${directory})
endforeach()

# at::parallel_for is a template of a header: without OpenMP's flag every file that uses it runs it on one thread. It has to be
# the runtime that LibTorch uses; some bring their own.
target_compile_options(qdqbert::libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${OpenMP_CXX_FLAGS}>)
file(GLOB openmp_of_torch ${TORCH_INSTALL_PREFIX}/lib/libgomp*.so*)
if(openmp_of_torch)
  target_link_libraries(qdqbert::libtorch INTERFACE ${openmp_of_torch})
else()
  target_link_libraries(qdqbert::libtorch INTERFACE OpenMP::OpenMP_CXX)
endif()
