package main

// Example runs the program: three nodes in one process.
func Example() {
	main()
	// Output:
	// put version 1
	// watched fruit/apple: green
	// put version 2
	// watched fruit/apple: red
	// got red, version 2 of b
	// no pear: true
	// the shop has made 4 calls, of which failed 1
}
