//go:build !linux

package main

// tcpCongestion is for links, which no other system than Linux has.
func tcpCongestion(host) string { return "" }
