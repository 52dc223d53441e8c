// Package suite has no code but tests: those that hold the behaviour of package
// core over every transport, from a table of links. They have a directory of
// their own because a user's go.sum also lists what the tests beside an imported
// package need, and a user of core shall not see the websocket library.
package suite
