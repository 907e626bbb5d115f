# LibTorch for the rooms nn, model and train: the target qdqbert_torch, and one precompiled header that they all reuse.
# Debian's package is built with the new C++ ABI; wheels with the old one cannot be linked and are refused here.
find_package(Torch 1.13 REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR "This LibTorch (${TORCH_INSTALL_PREFIX}) was built with the old C++ ABI; use one built with _GLIBCXX_USE_CXX11_ABI=1")
endif()

add_library(qdqbert_torch INTERFACE)
# at::parallel_for is a template of a header: without OpenMP's flag every file that uses it runs it on one thread.
target_link_libraries(qdqbert_torch INTERFACE ${TORCH_LIBRARIES} OpenMP::OpenMP_CXX)
target_include_directories(qdqbert_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
set_target_properties(qdqbert_torch PROPERTIES EXPORT_NAME torch)
install(TARGETS qdqbert_torch EXPORT qdqbert-nn)

# qdqbert_use_torch_pch(TARGET): compiles TARGET with the precompiled header that qdqbert_nn builds. All users must have
# the same compile options, hence -fPIC for executables too; ccache needs -fpch-preprocess to reuse their objects.
function(qdqbert_use_torch_pch target)
  target_precompile_headers(${target} REUSE_FROM qdqbert_nn)
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()
