package lab

// PartSize is where messages are cut, in bytes.
const PartSize = 32 << 10

// Pattern returns size bytes that depend on n.
func Pattern(n, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n*131 + i + i>>8 + i>>16)
	}
	return b
}
