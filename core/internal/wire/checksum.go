package wire

import (
	"encoding/binary"
	"hash/crc32"
)

// ChecksumSize is the length of the CRC32C that a batch begins with once both
// HELLOs have gone and either of them asked for it (W42).
const ChecksumSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutChecksum writes the checksum of the frames in b, which follow the space
// for it.
func PutChecksum(b []byte) {
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[ChecksumSize:], castagnoli))
}

// CheckBatch verifies and removes the checksum of a batch. Of a batch that fails
// it returns nothing, so that nothing of it can be delivered by mistake.
func CheckBatch(b []byte) ([]byte, bool) {
	if len(b) < ChecksumSize || binary.LittleEndian.Uint32(b) != crc32.Checksum(b[ChecksumSize:], castagnoli) {
		return nil, false
	}
	return b[ChecksumSize:], true
}
