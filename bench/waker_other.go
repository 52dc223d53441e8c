//go:build !linux

package main

func newWaker() waker { return timers{} }
