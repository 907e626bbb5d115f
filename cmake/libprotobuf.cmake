# protobuf::libprotobuf, where there is one. libonnx needs it; and a LibTorch from PyPI, which does not, puts an empty target of that
# name into the whole project when there is none, so this comes before LibTorch, too.
# Newer versions have a package of their own, which knows the libraries that their headers need.
find_package(Protobuf CONFIG QUIET)
if(NOT TARGET protobuf::libprotobuf)
  find_package(Protobuf QUIET)
endif()
