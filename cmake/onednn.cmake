# oneDNN for float matrix products (room products): QDQBERT_ONEDNN_LIBRARY and QDQBERT_ONEDNN_INCLUDE, versions 2.6 to 3.
# Not by its own CMake package, which asks for OpenCL.
find_library(QDQBERT_ONEDNN_LIBRARY dnnl)
if(QDQBERT_ONEDNN_LIBRARY)
  # Headers of the same installation: a LibTorch on CMAKE_PREFIX_PATH may bring those of another version, without a library.
  get_filename_component(onednn_libraries ${QDQBERT_ONEDNN_LIBRARY} DIRECTORY)
  find_path(QDQBERT_ONEDNN_INCLUDE oneapi/dnnl/dnnl.hpp
    PATHS ${onednn_libraries}/../include ${onednn_libraries}/../../include NO_DEFAULT_PATH)
endif()
if(NOT QDQBERT_ONEDNN_LIBRARY OR NOT QDQBERT_ONEDNN_INCLUDE)
  message(FATAL_ERROR "oneDNN is missing; install libdnnl-dev, or build without it: -DQDQBERT_WITH_ONEDNN=OFF (float models run slowly)")
endif()
set(onednn_version "")
foreach(part MAJOR MINOR PATCH)
  file(STRINGS ${QDQBERT_ONEDNN_INCLUDE}/oneapi/dnnl/dnnl_version.h line REGEX "define DNNL_VERSION_${part} ")
  string(REGEX REPLACE ".* ([0-9]+)$" "\\1" number "${line}")
  list(APPEND onednn_version ${number})
endforeach()
list(JOIN onednn_version . onednn_version)
if(onednn_version VERSION_LESS 2.6)
  message(FATAL_ERROR "This oneDNN (${QDQBERT_ONEDNN_LIBRARY}) is ${onednn_version}, older than 2.6; build without it: -DQDQBERT_WITH_ONEDNN=OFF (float models run slowly)")
endif()
message(STATUS "oneDNN ${onednn_version}: ${QDQBERT_ONEDNN_LIBRARY}")

execute_process(COMMAND ${CMAKE_READELF} -d ${QDQBERT_ONEDNN_LIBRARY} OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
if(NOT dynamic MATCHES "\\(SONAME\\)[^[]*\\[([^]]+)\\]")
  message(FATAL_ERROR "${QDQBERT_ONEDNN_LIBRARY} is no shared library; install libdnnl-dev, or build without it: -DQDQBERT_WITH_ONEDNN=OFF")
endif()
set(QDQBERT_ONEDNN_SONAME ${CMAKE_MATCH_1})

# A LibTorch that brings oneDNN's headers contains the library, too (products/onednn_apart.cc).
set(QDQBERT_ONEDNN_APART OFF)
if(QDQBERT_WITH_TORCH AND EXISTS ${TORCH_INSTALL_PREFIX}/include/oneapi/dnnl)
  file(REAL_PATH ${QDQBERT_ONEDNN_INCLUDE} onednn_headers)
  if(NOT onednn_headers STREQUAL "${TORCH_INSTALL_PREFIX}/include")
    set(QDQBERT_ONEDNN_APART ON)
  endif()
endif()
