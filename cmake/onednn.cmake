# oneDNN for float matrix products: QDQBERT_ONEDNN_LIBRARY and QDQBERT_ONEDNN_INCLUDE. Its own CMake package asks for OpenCL,
# which is not needed here.
find_path(QDQBERT_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp)
find_library(QDQBERT_ONEDNN_LIBRARY dnnl)
if(NOT QDQBERT_ONEDNN_INCLUDE OR NOT QDQBERT_ONEDNN_LIBRARY)
  message(FATAL_ERROR "oneDNN is missing; install libdnnl-dev, or build without it: -DQDQBERT_WITH_ONEDNN=OFF (float models run slowly)")
endif()
file(STRINGS ${QDQBERT_ONEDNN_INCLUDE}/oneapi/dnnl/dnnl_version.h QDQBERT_ONEDNN_MAJOR REGEX "DNNL_VERSION_MAJOR")
if(NOT QDQBERT_ONEDNN_MAJOR MATCHES "MAJOR 2$")
  message(FATAL_ERROR "This oneDNN is not version 2 (${QDQBERT_ONEDNN_MAJOR}); build without it: -DQDQBERT_WITH_ONEDNN=OFF (float models run slowly)")
endif()
