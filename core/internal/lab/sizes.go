package lab

// PartSize is where messages are cut, in bytes.
const PartSize = 32 << 10

// Pattern returns size bytes that depend on n: each is n*131 + i + i>>8 + i>>16,
// where i is its place.
func Pattern(n, size int) []byte {
	b := make([]byte, size)
	// In a row of 256 they count up, so that rows are copied, which the race
	// detector sees as one access and not as 256.
	for at := 0; at < size; at += 256 {
		copy(b[at:], upwards[byte(n*131+at>>8+at>>16):][:256])
	}
	return b
}

// upwards counts from 0 to 255 twice.
var upwards = func() (b [512]byte) {
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()
