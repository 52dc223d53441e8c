package link

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// ipv4 returns a packet with the given flags and fragment offset.
func ipv4(protocol byte, flags uint16, options int, payload []byte) []byte {
	header := header4 + options
	p := make([]byte, header, header+len(payload))
	p[0] = 0x40 | byte(header/4)
	binary.BigEndian.PutUint16(p[2:], uint16(header+len(payload)))
	binary.BigEndian.PutUint16(p[6:], flags)
	p[8], p[9] = 64, protocol
	copy(p[12:], addrs4[0].AsSlice())
	copy(p[16:], addrs4[1].AsSlice())
	sum4(p)
	return append(p, payload...)
}

func ipv6(next byte, payload []byte) []byte {
	p := make([]byte, header6, header6+len(payload))
	p[0] = 0x60
	binary.BigEndian.PutUint16(p[4:], uint16(len(payload)))
	p[6], p[7] = next, 64
	copy(p[8:], addrs6[0].AsSlice())
	copy(p[24:], addrs6[1].AsSlice())
	return append(p, payload...)
}

func with(p []byte, at int, octets ...byte) []byte {
	p = slices.Clone(p)
	copy(p[at:], octets)
	return p
}

// TestClassify expects the link to see the version, the protocol behind a
// fragment header, and who may cut a packet, and to leave out what does not cross.
func TestClassify(t *testing.T) {
	t.Parallel()
	none := packetKind{}
	for name, test := range map[string]struct {
		packet []byte
		want   packetKind
	}{
		"nothing":       {nil, none},
		"no IP":         {[]byte{0x50, 1, 2, 3}, none},
		"short IPv4":    {ipv4(6, 0, 0, nil)[:19], none},
		"short header":  {with(ipv4(6, 0, 0, nil), 0, 0x44), none},
		"short options": {with(ipv4(6, 0, 0, nil), 0, 0x46), none},
		"IPv4 group":    {with(ipv4(2, 0, 0, nil), 16, 224, 0, 0, 22), none},
		"broadcast":     {with(ipv4(17, 0, 0, nil), 16, 255, 255, 255, 255), none},
		"TCP":           {ipv4(6, dontFragment, 0, []byte("x")), packetKind{version: 4, protocol: 6, header: 20}},
		"options":       {ipv4(17, 0, 8, []byte("x")), packetKind{version: 4, protocol: 17, header: 28, fragment: true}},
		"first":         {ipv4(17, moreFragments, 0, nil), packetKind{version: 4, protocol: 17, header: 20, fragment: true}},
		"later":         {ipv4(17, 3, 0, nil), packetKind{version: 4, protocol: 17, header: 20, fragment: true, later: true}},
		"past the end":  {ipv4(17, 0x1fff, 0, make([]byte, 8)), none},
		"short IPv6":    {ipv6(6, nil)[:39], none},
		"IPv6 group":    {with(ipv6(58, nil), 24, 0xff, 0x02), none},
		"IPv6":          {ipv6(17, []byte("x")), packetKind{version: 6, protocol: 17, header: 40}},
		"IPv6 first":    {ipv6(44, []byte{17, 0, 0, 1, 0, 0, 0, 1}), packetKind{version: 6, protocol: 17, header: 48}},
		"IPv6 later":    {ipv6(44, []byte{17, 0, 0, 8, 0, 0, 0, 1}), packetKind{version: 6, protocol: 17, header: 48, later: true}},
		"IPv6 cut":      {ipv6(44, []byte{17, 0, 0}), packetKind{version: 6, protocol: 44, header: 40}},
	} {
		if got := classify(test.packet); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

// TestTooBig expects the messages that RFC 1191 and RFC 4443 describe: from the router
// to the sender, with the MTU, the packet that was too big, and right checksums.
func TestTooBig(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("datagram"), 200)

	packet := ipv4(protocolUDP, dontFragment, 0, data)
	got := appendTooBig(nil, packet, classify(packet), 1400)
	if len(got) != 56 || !bytes.Equal(got[12:16], router4.AsSlice()) || !bytes.Equal(got[16:20], addrs4[0].AsSlice()) ||
		got[9] != protocolICMP || got[20] != 3 || got[21] != 4 || binary.BigEndian.Uint16(got[26:]) != 1400 ||
		!bytes.Equal(got[28:], packet[:28]) || binary.BigEndian.Uint16(got[2:]) != 56 {
		t.Errorf("IPv4: %x", got)
	}
	if checksum(0, got[:20]) != 0 || checksum(0, got[20:]) != 0 {
		t.Errorf("IPv4: the checksums of %x are wrong", got)
	}

	packet = ipv6(protocolUDP, data)
	got = appendTooBig(nil, packet, classify(packet), 1400)
	if len(got) != 1280 || !bytes.Equal(got[8:24], router6.AsSlice()) || !bytes.Equal(got[24:40], addrs6[0].AsSlice()) ||
		got[6] != protocolICMPv6 || got[40] != 2 || got[41] != 0 || binary.BigEndian.Uint32(got[44:]) != 1400 ||
		!bytes.Equal(got[48:], packet[:1232]) || binary.BigEndian.Uint16(got[4:]) != 1240 {
		t.Errorf("IPv6: %x", got)
	}
	pseudo := binary.BigEndian.AppendUint32(slices.Clone(got[8:40]), 1240)
	if checksum(sum(0, append(pseudo, 0, 0, 0, protocolICMPv6)), got[40:]) != 0 {
		t.Errorf("IPv6: the checksum of %x is wrong", got)
	}
}

// TestSilence expects no message about a message of error, and none about a fragment
// that is not the first.
func TestSilence(t *testing.T) {
	t.Parallel()
	big := make([]byte, 1400)
	for name, packet := range map[string][]byte{
		"unreachable":      ipv4(protocolICMP, dontFragment, 0, with(big, 0, 3)),
		"later fragment":   ipv4(protocolUDP, dontFragment|3, 0, big),
		"IPv6 too big":     ipv6(protocolICMPv6, with(big, 0, 2)),
		"later of IPv6":    ipv6(nextFragment, with(big, 0, protocolUDP, 0, 0, 8)),
		"nothing to quote": ipv6(protocolUDP, nil),
	} {
		if got := appendTooBig(nil, packet, classify(packet), MinMTU); len(got) > 0 {
			t.Errorf("%s was answered with %x", name, got)
		}
	}
	for name, packet := range map[string][]byte{
		"echo request":      ipv4(protocolICMP, dontFragment, 0, with(big, 0, 8)),
		"echo reply":        ipv4(protocolICMP, dontFragment, 0, big),
		"IPv6 echo request": ipv6(protocolICMPv6, with(big, 0, 128)),
	} {
		if got := appendTooBig(nil, packet, classify(packet), MinMTU); len(got) == 0 {
			t.Errorf("%s was not answered", name)
		}
	}
}

// FuzzPacket expects that no packet causes a panic, that fragments are no larger than the MTU, have right headers
// and hold together what the packet held, and that answers are packets themselves
// which fit in the least MTU and which nothing answers.
func FuzzPacket(f *testing.F) {
	f.Add(ipv4(protocolUDP, 0, 0, make([]byte, 4000)), uint16(0))
	f.Add(ipv4(protocolUDP, moreFragments|185, 12, make([]byte, 2801)), uint16(120))
	f.Add(ipv6(nextFragment, make([]byte, 1500)), uint16(20))
	f.Add(ipv6(6, make([]byte, 1500)), uint16(0))
	f.Add(ipv4(6, dontFragment, 40, make([]byte, 1500)), uint16(0))
	f.Fuzz(func(t *testing.T, packet []byte, more uint16) {
		mtu := MinMTU + int(more)%(MaxMTU-MinMTU)
		k := classify(packet)
		if k.version == 0 || len(packet) <= mtu || len(packet) > MaxMTU {
			return
		}
		reply := appendTooBig(nil, packet, k, mtu)
		if len(reply) > 0 {
			// Nobody but who sent a packet to a group from one would get such.
			kind := classify(reply)
			if len(reply) > MinMTU || kind.version != 0 && (kind.version != k.version || !answersNothing(reply, kind)) {
				t.Errorf("the answer is %x", reply)
			}
		}
		if k.version == 4 {
			checkFragments(t, packet, k, mtu)
		}
	})
}

func checkFragments(t *testing.T, packet []byte, k packetKind, mtu int) {
	flags := binary.BigEndian.Uint16(packet[6:])
	payload, at := packet[k.header:], 0
	fragments(packet, k, mtu, make([]byte, MaxMTU), func(piece []byte) {
		header, body := piece[:k.header], piece[k.header:]
		got := binary.BigEndian.Uint16(header[6:])
		last := at+len(body) == len(payload)
		if len(piece) > mtu || int(binary.BigEndian.Uint16(header[2:])) != len(piece) || checksum(0, header) != 0 || len(body) == 0 {
			t.Fatalf("fragment %x", piece)
		}
		if !bytes.Equal(body, payload[at:at+len(body)]) || (got-flags)&fragmentOffset != uint16(at/8)&fragmentOffset {
			t.Fatalf("a fragment is not what belongs at %d", at)
		}
		if more := got&moreFragments != 0; more != (!last || flags&moreFragments != 0) || !last && len(body)%8 != 0 {
			t.Fatalf("at %d of %d, the flags are %x", at, len(payload), got)
		}
		at += len(body)
	})
	if at != len(payload) {
		t.Fatalf("%d of %d octets were in fragments", at, len(payload))
	}
}
