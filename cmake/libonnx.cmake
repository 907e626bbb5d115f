# Finds the ONNX library with its protobuf messages, for builds of qdqbert and for their users: the target qdqbert::libonnx.
if(TARGET qdqbert::libonnx)
  return()
endif()
# Newer versions have a package of their own, which knows the libraries that their headers need.
find_package(Protobuf CONFIG QUIET)
if(NOT TARGET protobuf::libprotobuf)
  find_package(Protobuf REQUIRED)
endif()
find_package(ONNX REQUIRED)
add_library(qdqbert::libonnx INTERFACE IMPORTED)
target_link_libraries(qdqbert::libonnx INTERFACE onnx onnx_proto protobuf::libprotobuf)
# Its headers want to know how the library was built; packages differ in whether they say it.
target_compile_definitions(qdqbert::libonnx INTERFACE ONNX_NAMESPACE=onnx)
find_path(QDQBERT_ONNX_ML_INCLUDE onnx/onnx-ml.pb.h)
if(QDQBERT_ONNX_ML_INCLUDE)
  target_compile_definitions(qdqbert::libonnx INTERFACE ONNX_ML=1)
endif()
