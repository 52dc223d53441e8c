// Package sessions has no code but tests of package core: those of sessions that
// begin, end and follow on one another. Nodes come and go, drain, change their
// peers and addresses, and their links break, go silent, flap and do damage. What
// the tests share is in package lab.
package sessions
