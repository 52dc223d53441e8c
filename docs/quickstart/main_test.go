package main

// Example runs the quick start as the README prints it.
func Example() {
	main()
	// Output:
	// hello b, I am b <nil>
	// hello a, I am a <nil>
}
