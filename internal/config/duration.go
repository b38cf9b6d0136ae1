package config

import (
	"errors"
	"strings"
	"time"
)

// Duration is a time span. In the file it is a string: "10s", "4m", "1h30m".
type Duration time.Duration

var errDuration = errors.New(`must be a duration with a unit, such as "10s", "4m" or "1h30m"`)

// ParseDuration reads a duration with units h, m, s, ms.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(s))
	if err != nil {
		return 0, errDuration
	}
	return Duration(d), nil
}

// String gives the duration without the zeros of time.Duration: "4m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
