package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of octets. In the file it is an integer, or a string with
// a unit: "500M", "2G" (K, M, G, T; each 1024 times the one before).
type Size int64

// The units of a Size.
const (
	Kibi Size = 1 << 10
	Mebi Size = 1 << 20
	Gibi Size = 1 << 30
	Tebi Size = 1 << 40
)

var errSize = errors.New(`must be a size such as "500M" or "2G", or a number of octets without quotes`)

// ParseSize reads a size with a unit. A number in quotes without unit is
// refused, because other software reads it as megabytes.
func ParseSize(s string) (Size, error) {
	s = strings.ToUpper(strings.TrimSpace(s))
	s = strings.TrimSuffix(s, "B")
	if s == "" {
		return 0, errSize
	}
	unit, ok := map[byte]Size{'K': Kibi, 'M': Mebi, 'G': Gibi, 'T': Tebi}[s[len(s)-1]]
	if !ok {
		return 0, errSize
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s[:len(s)-1]), 10, 63)
	if err != nil || Size(n) > math.MaxInt64/unit {
		return 0, errSize
	}
	return Size(n) * unit, nil
}

// String gives the size with the largest unit that has no remainder.
func (s Size) String() string {
	for _, u := range []struct {
		unit Size
		name string
	}{{Tebi, "T"}, {Gibi, "G"}, {Mebi, "M"}, {Kibi, "K"}} {
		if s != 0 && s%u.unit == 0 {
			return strconv.FormatInt(int64(s/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
