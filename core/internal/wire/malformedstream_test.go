package wire

import "testing"

// TestMalformedFlow holds the frames that pace a sender, and END, to the bodies,
// ids and codecs that they may have.
func TestMalformedFlow(t *testing.T) {
	checks := []check{
		{"W44", "ACK of eight bytes", raw(TypeAck, 0, 0, 0, 0, u64(1)), ""},
		{"W44", "ACK of nothing", raw(TypeAck, 0, 0, 0, 0, u64(0)), ""},
		{"W44", "ACK of all bytes there can be", raw(TypeAck, 0, 0, 0, 0, u64(1<<64-1)), ""},
		{"W44", "ACK of seven bytes", raw(TypeAck, 0, 0, 0, 0, make([]byte, 7)), "ACK of 7 bytes"},
		{"W44", "ACK of nine bytes", raw(TypeAck, 0, 0, 0, 0, make([]byte, 9)), "ACK of 9 bytes"},
		{"W44", "ACK without a body", raw(TypeAck, 0, 0, 0, 0), "ACK of 0 bytes"},
		{"W16", "ACK with an id", raw(TypeAck, 0, 0, 0, goldenID, u64(1)), "ACK with call id"},
		{"W91", "LANES of eight bytes", raw(TypeLanes, 0, 0, 0, 0, u64(1)), ""},
		{"W91", "LANES of seven bytes", raw(TypeLanes, 0, 0, 0, 0, make([]byte, 7)), "LANES of 7 bytes"},
		{"W91", "LANES without a body", raw(TypeLanes, 0, 0, 0, 0), "LANES of 0 bytes"},
		{"W16", "LANES with an id", raw(TypeLanes, 0, 0, 0, goldenID, u64(1)), "LANES with call id"},
		{"W44", "MARK with a body", raw(TypeMark, 0, 0, 0, 0, u64(1)), "MARK with a body of 8 bytes"},
		{"W16", "MARK with an id", raw(TypeMark, 0, 0, 0, goldenID), "MARK with call id"},
		{"W45", "GRANT with a body", raw(TypeGrant, 0, 0, 0, goldenID, []byte("x")), "GRANT with a body of 1 bytes"},
		{"W82", "END with a body", raw(TypeEnd, 0, 0, 0, goldenID, []byte("x")), "END with a body of 1 bytes"},
		{"W82", "END with a status", AppendStatus(nil, TypeEnd, goldenID, Status{}), "END with a body of 6 bytes"},
		{"W83", "CREDIT of messages", raw(TypeCredit, 0, 0, 0, goldenID, u32(1), u32(0)), ""},
		{"W83", "CREDIT of bytes", raw(TypeCredit, 0, 0, 0, goldenID, u32(0), u32(1)), ""},
		{"W83", "CREDIT of nothing", raw(TypeCredit, 0, 0, 0, goldenID, u32(0), u32(0)), "CREDIT of nothing"},
		{"W83", "CREDIT of seven bytes", raw(TypeCredit, 0, 0, 0, goldenID, u32(1), make([]byte, 3)), "CREDIT of 7 bytes"},
		{"W83", "CREDIT of nine bytes", raw(TypeCredit, 0, 0, 0, goldenID, u32(1), u32(1), []byte{0}), "CREDIT of 9 bytes"},
		{"W83", "CREDIT without a body", raw(TypeCredit, 0, 0, 0, goldenID), "CREDIT of 0 bytes"},
		{"W84", "CREDIT beyond any bounds passes here, for the receiver to end the stream", raw(TypeCredit, 0, 0, 0, goldenID, u32(1<<32-1), u32(1<<32-1)), ""},
		{"W15", "OPEN with a codec passes here, for the receiver to refuse", raw(TypeOpen, 0, 1, 1, goldenID, make([]byte, requestHead), u32(1), u32(1)), ""},
		{"W15", "OPEN with a dictionary of no codec", raw(TypeOpen, 0, 0, 1, goldenID, make([]byte, requestHead), u32(1)), "dictionary 1 of no codec"},
		{"W15", "DATA with a dictionary of no codec", raw(TypeData, 0, 0, 1, goldenID), "dictionary 1 of no codec"},
		{"W15", "DATA with a codec passes here, for the receiver to judge", raw(TypeData, 0, 1, 1, goldenID, u32(1)), ""},
	}
	for ty, body := range map[Type][]byte{
		TypeMark: nil, TypeAck: u64(1), TypeLanes: u64(1), TypeGrant: nil, TypeEnd: nil, TypeCredit: u64(1),
	} {
		id := goldenID
		if belongsToNoCall(ty) {
			id = 0
		}
		checks = append(checks,
			check{"W12", ty.String(), raw(ty, 0, 0, 0, id, body), ""},
			check{"W15", ty.String() + " with a codec", raw(ty, 0, 1, 0, id, body), "with codec 1, dictionary 0"},
			check{"W15", ty.String() + " with a dictionary", raw(ty, 0, 0, 1, id, body), "with codec 0, dictionary 1"},
		)
	}
	runChecks(t, checks)
}
