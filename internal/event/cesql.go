package event

import "errors"

func compileCESQL(string) (Matcher, error) { return nil, errors.New("not yet") }
