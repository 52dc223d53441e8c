//go:build !linux

package quic

import "net"

// withGRO returns pc: only Linux coalesces datagrams for a reader.
func withGRO(pc net.PacketConn) net.PacketConn { return pc }

func withoutGRO(net.PacketConn) {}
