package main

// Example runs the program as the README prints it.
func Example() {
	main()
	// Output:
	// part 0
	// part 1
	// part 2
	// 100000 bytes arrived
	// this is a page of b
}
