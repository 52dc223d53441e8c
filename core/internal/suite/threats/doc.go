// Package threats has no code but tests of package core: those of who may connect
// and what strangers, impostors, people in the middle and members gone bad can do
// to a node. They use the means of identity that come with the library and others,
// over TLS and without. What the tests share is in package lab.
package threats
