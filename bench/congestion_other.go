//go:build !linux

package main

import "errors"

// Congestion control is about links, which no other system than Linux has.

func tcpCongestion(host) string { return "" }

func setTCPCongestion(any, string) error { return errors.ErrUnsupported }

func tcpCongestions() []string { return nil }
