package telemetry

import (
	"encoding/binary"
	"math"
)

// Messages of protocol buffers, as far as they are written here: by fields' numbers, without any of what describes them.

func tag(b []byte, field, kind int) []byte {
	return binary.AppendUvarint(b, uint64(field)<<3|uint64(kind))
}

// appendUint appends a varint field; 0 is left out.
func appendUint(b []byte, field int, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(tag(b, field, 0), v)
}

// appendSint appends a sint32 or sint64 field; 0 is kept, for it may be one of several.
func appendSint(b []byte, field int, v int64) []byte {
	return binary.AppendUvarint(tag(b, field, 0), uint64(v)<<1^uint64(v>>63))
}

func appendDouble(b []byte, field int, v float64) []byte {
	return binary.LittleEndian.AppendUint64(tag(b, field, 1), math.Float64bits(v))
}

func appendFixed64(b []byte, field int, v uint64) []byte {
	return binary.LittleEndian.AppendUint64(tag(b, field, 1), v)
}

func appendFixed32(b []byte, field int, v uint32) []byte {
	return binary.LittleEndian.AppendUint32(tag(b, field, 5), v)
}

// appendBytes appends a string, bytes or message field.
func appendBytes[T []byte | string](b []byte, field int, v T) []byte {
	b = binary.AppendUvarint(tag(b, field, 2), uint64(len(v)))
	return append(b, v...)
}

// appendText appends a string field; "" is left out.
func appendText(b []byte, field int, v string) []byte {
	if v == "" {
		return b
	}
	return appendBytes(b, field, v)
}
