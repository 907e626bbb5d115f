// Starts, so that shared libraries are found and initializers have run.
int main() {
  return 0;
}
