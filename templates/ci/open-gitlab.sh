#!/usr/bin/env bash
# A push option is one line of at most 65,515 bytes; GitLab makes lines of `\n`. What it says may come from a stranger: a
# line that begins with a slash would be a quick action, such as /merge, done with the token's rights.
description=$(python3 - << 'END'
import re

text = open("out/body.md", encoding="utf-8", errors="replace", newline="\n").read()
text = re.sub(r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f]", " ", text)
text = re.sub(r"^( *)/", r"\1\\/", text.replace("\\n", "\\\u200bn"), flags=re.MULTILINE)
print(text.rstrip("\n").replace("\n", "\\n").encode()[:65000].decode(errors="ignore"))
END
)
# The user's name keeps what the runner has set up for its own token from being used here.
# shellcheck disable=SC2016  # git runs it
helper='!f() { echo "password=$DRIVEBUILD_UPDATE_TOKEN"; }; f'
pushed=0
said=$(GIT_TERMINAL_PROMPT=0 git -c credential.helper= -c "credential.helper=$helper" \
    push --force "${CI_PROJECT_URL/:\/\//://drivebuild@}.git" "HEAD:refs/heads/$DRIVEBUILD_BRANCH" \
    -o merge_request.create -o "merge_request.target=$CI_COMMIT_BRANCH" -o "merge_request.title=${title:0:255}" \
    -o "merge_request.description=$description" -o merge_request.remove_source_branch 2>&1) || pushed=$?
printf '%s\n' "$said"
# GitLab takes the branch even where it takes none of the options.
if [ "$pushed" != 0 ] || grep -qi 'error encountered with push options' <<< "$said"; then
    echo "no merge request was opened or renewed; see above" >&2
    exit 1
fi
