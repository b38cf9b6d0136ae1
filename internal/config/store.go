package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// maxElements bounds a list.
const maxElements = 64

// store puts a value into its field, or tells why it cannot be there.
func (r *reader) store(f field, n *unstable.Node, here *place) string {
	switch to := f.value(r.config).Addr().Interface().(type) {
	case *string:
		if n.Kind != unstable.String {
			return "must be a string in quotes, not " + kindName(n.Kind)
		}
		*to = string(n.Data)
	case *bool:
		if n.Kind != unstable.Bool {
			return "must be true or false without quotes, not " + kindName(n.Kind)
		}
		*to = string(n.Data) == "true"
	case *int:
		if n.Kind != unstable.Integer {
			return "must be a whole number without quotes, not " + kindName(n.Kind)
		}
		v, err := parseInteger(n.Data)
		if err != nil || int64(int(v)) != v {
			return "is too large a number"
		}
		*to = int(v)
	case *float64:
		return storeNumber(to, n)
	case *Size:
		switch n.Kind {
		case unstable.Integer:
			v, err := parseInteger(n.Data)
			if err != nil {
				return "is too large a number"
			}
			*to = Size(v)
		case unstable.String:
			v, err := ParseSize(string(n.Data))
			if err != nil {
				return err.Error()
			}
			*to = v
		default:
			return errSize.Error()
		}
	case *Duration:
		if n.Kind != unstable.String {
			return errDuration.Error()
		}
		v, err := ParseDuration(string(n.Data))
		if err != nil {
			return err.Error()
		}
		*to = v
	case *[]string:
		return r.storeList(to, n, here)
	default:
		panic(fmt.Sprintf("the field of %s has a type that no key has", f.path)) // a fault in config.go
	}
	return ""
}

// storeNumber takes a number with or without a fraction.
func storeNumber(to *float64, n *unstable.Node) string {
	switch n.Kind {
	case unstable.Integer:
		v, err := parseInteger(n.Data)
		if err != nil {
			return "is too large a number"
		}
		*to = float64(v)
	case unstable.Float:
		v, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return "must be a number such as 5 or 2.5"
		}
		*to = v
	default:
		return "must be a number without quotes, not " + kindName(n.Kind)
	}
	return ""
}

func (r *reader) storeList(to *[]string, n *unstable.Node, here *place) string {
	if n.Kind != unstable.Array {
		return "must be a list of strings, [\"...\"], not " + kindName(n.Kind)
	}
	list := []string{}
	for c := n.Children(); c.Next(); {
		e := c.Node()
		if e.Kind != unstable.String {
			return "must be a list of strings, but has " + kindName(e.Kind)
		}
		if len(list) == maxElements {
			return fmt.Sprintf("has more than %d elements", maxElements)
		}
		list = append(list, string(e.Data))
		here.elements = append(here.elements, int(e.Raw.Offset))
	}
	*to = list
	return ""
}

// parseInteger reads a TOML integer: signs, underscores, 0x, 0o and 0b.
func parseInteger(text []byte) (int64, error) {
	return strconv.ParseInt(strings.ReplaceAll(string(text), "_", ""), 0, 64)
}

func kindName(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Integer:
		return "a number"
	case unstable.Float:
		return "a fraction"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}
