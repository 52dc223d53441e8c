package link

import (
	"encoding/binary"
	"net/netip"
)

// The addresses are of the networks for benchmarks, RFC 2544 and RFC 5180. That
// of the router is the source of what the link itself says.
var (
	addrs4  = [2]netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")}
	addrs6  = [2]netip.Addr{netip.MustParseAddr("2001:2::1"), netip.MustParseAddr("2001:2::2")}
	router4 = netip.MustParseAddr("198.18.0.3")
	router6 = netip.MustParseAddr("2001:2::3")
)

const (
	prefix4 = 29
	prefix6 = 64
)

const (
	header4 = 20 // octets of an IPv4 header without options
	header6 = 40
	header8 = 8 // of the fragment header of IPv6, of UDP, and of an ICMP error

	protocolICMP   = 1
	protocolUDP    = 17
	protocolICMPv6 = 58
	nextFragment   = 44

	dontFragment   = 0x4000 // bits of the third word of an IPv4 header
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff

	unreachable4 = 3 // ICMP type, with the code for a packet that is too big
	tooBig4      = 4
	tooBig6      = 2   // ICMPv6 type
	errors6      = 128 // ICMPv6 types below are errors
)

// A packetKind is what the link has to know of a packet.
type packetKind struct {
	version  int // 4 or 6, or 0 for what does not cross the link
	protocol byte
	header   int  // octets until what protocol names; of IPv4, of the IP header
	later    bool // a fragment that is not the first
	fragment bool // a router may fragment it
}

// classify looks at an IP packet. What is no whole packet, or is for a multicast
// address, does not cross the link.
func classify(packet []byte) (k packetKind) {
	if len(packet) == 0 {
		return k
	}
	switch packet[0] >> 4 {
	case 4:
		header := int(packet[0]&0x0f) * 4
		if header < header4 || len(packet) < header || packet[16] >= 224 {
			return k
		}
		flags := binary.BigEndian.Uint16(packet[6:])
		if end := int(flags&fragmentOffset)*8 + len(packet) - header; end > MaxMTU {
			return k // no packet has a fragment there
		}
		return packetKind{
			version: 4, protocol: packet[9], header: header,
			later: flags&fragmentOffset != 0, fragment: flags&dontFragment == 0,
		}
	case 6:
		if len(packet) < header6 || packet[24] == 0xff {
			return k
		}
		k = packetKind{version: 6, protocol: packet[6], header: header6}
		if k.protocol == nextFragment && len(packet) >= header6+header8 {
			k.protocol, k.header = packet[header6], header6+header8
			k.later = binary.BigEndian.Uint16(packet[header6+2:])>>3 != 0
		}
		return k
	default:
		return k
	}
}

// fragments cuts an IPv4 packet that is larger than mtu, and calls emit with each
// piece, which is valid during the call. Fragments may be cut again. buf
// holds the pieces and has at least mtu octets.
func fragments(packet []byte, k packetKind, mtu int, buf []byte, emit func([]byte)) {
	flags := binary.BigEndian.Uint16(packet[6:])
	payload := packet[k.header:]
	// Options are repeated in all pieces: allowed, if not asked for of each.
	most := (mtu - k.header) &^ 7
	for at := 0; at < len(payload); at += most {
		piece := payload[at:min(at+most, len(payload))]
		field := flags + uint16(at/8)
		if at+len(piece) < len(payload) {
			field |= moreFragments
		}
		out := append(append(buf[:0], packet[:k.header]...), piece...)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		binary.BigEndian.PutUint16(out[6:], field)
		sum4(out[:k.header])
		emit(out)
	}
}

// appendTooBig appends to buf what a router answers to a packet that is larger than
// mtu and must not be fragmented. It appends nothing where it must keep silent.
func appendTooBig(buf, packet []byte, k packetKind, mtu int) []byte {
	if k.later || answersNothing(packet, k) {
		return buf
	}
	if k.version == 4 {
		return appendTooBig4(buf, packet, k, mtu)
	}
	return appendTooBig6(buf, packet, mtu)
}

// answersNothing reports whether packet is an error message, which must not cause
// another.
func answersNothing(packet []byte, k packetKind) bool {
	if len(packet) <= k.header {
		return true
	}
	kind := packet[k.header]
	switch k.protocol {
	case protocolICMP:
		return kind != 0 && kind != 8 // neither an echo nor its request
	case protocolICMPv6:
		return kind < errors6
	default:
		return false
	}
}

func appendTooBig4(buf, packet []byte, k packetKind, mtu int) []byte {
	quoted := packet[:min(len(packet), k.header+header8)]
	start := len(buf)
	buf = append(buf, 0x45, 0, 0, byte(header4+header8+len(quoted)), 0, 0, 0, 0, 64, protocolICMP, 0, 0)
	buf = append(buf, router4.AsSlice()...)
	buf = append(buf, packet[12:16]...)
	sum4(buf[start : start+header4])
	buf = append(buf, unreachable4, tooBig4, 0, 0, 0, 0, byte(mtu>>8), byte(mtu))
	buf = append(buf, quoted...)
	message := buf[start+header4:]
	binary.BigEndian.PutUint16(message[2:], checksum(0, message))
	return buf
}

func appendTooBig6(buf, packet []byte, mtu int) []byte {
	quoted := packet[:min(len(packet), MinMTU-header6-header8)]
	size := header8 + len(quoted)
	start := len(buf)
	buf = append(buf, 0x60, 0, 0, 0, byte(size>>8), byte(size), protocolICMPv6, 64)
	buf = append(buf, router6.AsSlice()...)
	buf = append(buf, packet[8:24]...)
	pseudo := sum(uint32(size)+protocolICMPv6, buf[start+8:start+header6])
	buf = append(buf, tooBig6, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(mtu))
	buf = append(buf, quoted...)
	message := buf[start+header6:]
	binary.BigEndian.PutUint16(message[2:], checksum(pseudo, message))
	return buf
}

// sum4 sets the checksum of an IPv4 header.
func sum4(header []byte) {
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], checksum(0, header))
}

// sum adds data to a sum of 16-bit words. It does not overflow for what fits in a packet.
func sum(s uint32, data []byte) uint32 {
	for ; len(data) >= 2; data = data[2:] {
		s += uint32(binary.BigEndian.Uint16(data))
	}
	if len(data) > 0 {
		s += uint32(data[0]) << 8
	}
	return s
}

// checksum returns the Internet checksum of data and of what s is the sum of.
func checksum(s uint32, data []byte) uint16 {
	s = sum(s, data)
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}
