// Package suite has no code but tests: those of package faulty over websocket,
// and with the Managers of package core on top. They have a directory of their
// own because a user's go.sum also lists what the tests beside an imported
// package need.
package suite
