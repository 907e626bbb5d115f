# Helpers that every CMakeLists.txt of the house uses: one library per room, one executable per test family.

find_program(QDQBERT_CCACHE ccache)
if(QDQBERT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QDQBERT_CCACHE})
endif()

add_library(qdqbert_options INTERFACE)
target_include_directories(qdqbert_options INTERFACE
  $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(qdqbert_options INTERFACE cxx_std_20)
set_target_properties(qdqbert_options PROPERTIES EXPORT_NAME options)
# No contraction: a fused multiply-add where none is written would change the last bit between ISAs and compilers.
target_compile_options(qdqbert_options INTERFACE $<BUILD_INTERFACE:-Wall> $<BUILD_INTERFACE:-Wextra> -ffp-contract=off)
# g++ 14 takes the one end of a vector of one element, copied inside its own headers, for an access behind it.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 14)
  target_compile_options(qdqbert_options INTERFACE $<BUILD_INTERFACE:-Wno-array-bounds>)
endif()
if(QDQBERT_SANITIZE)
  target_compile_options(qdqbert_options INTERFACE
    -fsanitize=${QDQBERT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(qdqbert_options INTERFACE -fsanitize=${QDQBERT_SANITIZE})
endif()

# What is different from processor to processor is a file for each: NAME_${QDQBERT_PROCESSOR}.cc.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(QDQBERT_PROCESSOR x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(QDQBERT_PROCESSOR arm64)
else()
  message(FATAL_ERROR "qdqbert is written for x86-64 and arm64, and this is ${CMAKE_SYSTEM_PROCESSOR}; another processor needs its own of the files that end in _arm64.cc")
endif()

# Flags follow from the file name's last suffix, so only files with an ISA suffix ever get -m flags.
set(QDQBERT_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(QDQBERT_ISA_FLAGS_avxvnni -mavx2 -mfma -mf16c -mavxvnni)
set(QDQBERT_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma)
set(QDQBERT_ISA_FLAGS_avx512vnni -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma)
set(QDQBERT_ISA_FLAGS_amxint8
  -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mfma -mamx-tile -mamx-int8)

# g++ 12 warns about the undefined vectors inside its own AVX-512 header (GCC bug 105593).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  foreach(isa avx512 avx512vnni amxint8)
    list(APPEND QDQBERT_ISA_FLAGS_${isa} -Wno-maybe-uninitialized -Wno-uninitialized)
  endforeach()
endif()

function(qdqbert_isa_flags)
  foreach(source ${ARGN})
    if(source MATCHES "_(avx2|avxvnni|avx512|avx512vnni|amxint8)\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${QDQBERT_ISA_FLAGS_${CMAKE_MATCH_1}}")
    endif()
  endforeach()
endfunction()

# qdqbert_room(NAME SOURCES a.cc b.cc DEPS base io PRIVATE_LIBS zlib PUBLIC_LIBS ...)
# Makes the library qdqbert_NAME (alias qdqbert::NAME). DEPS are rooms; they fix which arrows link.
function(qdqbert_room name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PUBLIC_LIBS;PRIVATE_LIBS" ${ARGN})
  add_library(qdqbert_${name} STATIC ${arg_SOURCES})
  add_library(qdqbert::${name} ALIAS qdqbert_${name})
  set_target_properties(qdqbert_${name} PROPERTIES EXPORT_NAME ${name})
  target_link_libraries(qdqbert_${name} PUBLIC qdqbert_options ${arg_PUBLIC_LIBS} PRIVATE ${arg_PRIVATE_LIBS})
  foreach(dep ${arg_DEPS})
    target_link_libraries(qdqbert_${name} PUBLIC qdqbert_${dep})
  endforeach()
  qdqbert_isa_flags(${arg_SOURCES})
  # One export set a room: who asks for the tokenizer needs neither LibTorch nor ONNX.
  install(TARGETS qdqbert_${name} EXPORT qdqbert-${name} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT qdqbert-${name} NAMESPACE qdqbert:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/qdqbert)
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/qdqbert/${name}
    FILES_MATCHING PATTERN "*.h")
  set_property(GLOBAL APPEND PROPERTY QDQBERT_ROOMS ${name})
  set_property(GLOBAL PROPERTY QDQBERT_DEPS_${name} "${arg_DEPS}")
endfunction()

# qdqbert_test(NAME SOURCES a_test.cc DEPS rooms LABELS unit|golden|peer|e2e|hostile|long LIBS extra)
# One executable and one ctest entry per family: no per-case discovery at build time.
# Label threads: also run under TSan (target thread_tests builds just these). Label arm64: also run on an emulated arm64
# (target arm64_tests); so a test with this label starts no program. Label gpu: may use GPUs.
function(qdqbert_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPS;LABELS;LIBS;ARGS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE qdqbert_options qdqbert_test_support GTest::gtest GTest::gmock ${arg_LIBS})
  if(QDQBERT_SANITIZE)
    target_compile_definitions(${name} PRIVATE QDQBERT_SANITIZED)
  endif()
  foreach(dep ${arg_DEPS})
    target_link_libraries(${name} PRIVATE qdqbert_${dep})
  endforeach()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 900)
  endif()
  # Tests share the processors, so OpenMP threads must not spin for long while they wait.
  set(environment GOMP_SPINCOUNT=1000)
  # What a command does by default must not depend on the GPUs of the machine that tests it.
  if(NOT "gpu" IN_LIST arg_LABELS)
    list(APPEND environment CUDA_VISIBLE_DEVICES=)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} ENVIRONMENT "${environment}")
  if("threads" IN_LIST arg_LABELS)
    add_dependencies(thread_tests ${name})
  endif()
  if("arm64" IN_LIST arg_LABELS)
    add_dependencies(arm64_tests ${name})
  endif()
endfunction()
