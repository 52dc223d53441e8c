//go:build !race && !griddebug

package websocket

func poison([]byte) {}
