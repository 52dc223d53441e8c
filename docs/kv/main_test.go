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
	// calls for the shop: 5
}
