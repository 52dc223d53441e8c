package transport

import (
	"net"
	"net/netip"
)

// RemoteHost returns what stands for the host at the other end of a connection,
// for limits on what strangers may hold: its address without the port, and of
// an IPv6 address the first 64 bits, since a host has all the rest to itself.
// Where the address is not one of IP it is the whole of it; "" for nil.
func RemoteHost(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
