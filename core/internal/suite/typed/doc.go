// Package typed has no code but tests: those that hold the behaviour of typed
// methods, over every link, and what they cost. Its message types are generated,
// as a user's are, but for odd ones that are written by hand to be wrong.
package typed
