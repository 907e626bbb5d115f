# What `cmake --install` adds to the rooms: the package that find_package(qdqbert) reads, umbrella headers, shipped data.
include(CMakePackageConfigHelpers)

get_property(QDQBERT_ROOMS GLOBAL PROPERTY QDQBERT_ROOMS)
set(QDQBERT_ROOM_DEPS "")
foreach(room ${QDQBERT_ROOMS})
  get_property(deps GLOBAL PROPERTY QDQBERT_DEPS_${room})
  string(APPEND QDQBERT_ROOM_DEPS "set(_qdqbert_deps_${room} ${deps})\n")
endforeach()

set(QDQBERT_PACKAGES_NN "")
if(TARGET qdqbert_cuda_kernels AND TARGET torch_cuda)
  list(APPEND QDQBERT_PACKAGES_NN CUDAToolkit)
endif()

install(TARGETS qdqbert_options EXPORT qdqbert-options)
install(EXPORT qdqbert-options NAMESPACE qdqbert:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qdqbert)
configure_package_config_file(cmake/qdqbert-config.cmake.in ${CMAKE_BINARY_DIR}/qdqbert-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qdqbert)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/qdqbert-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/qdqbert-config.cmake ${CMAKE_BINARY_DIR}/qdqbert-config-version.cmake
  cmake/libonnx.cmake cmake/libprotobuf.cmake cmake/libtorch.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qdqbert)

install(FILES qdqbert/inference.h qdqbert/training.h qdqbert/version.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/qdqbert)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data DESTINATION ${CMAKE_INSTALL_DATADIR}/qdqbert)
install(FILES LICENSE NOTICE ATTRIBUTION.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
