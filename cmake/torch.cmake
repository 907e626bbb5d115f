# LibTorch for the rooms nn, model and train: the target qdqbert::libtorch, and one precompiled header that they all reuse.
include(libtorch)

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
