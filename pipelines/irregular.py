"""Forms of English words that no ending leads back: `went` is `go`."""

_FORMS = """
arose arisen:arise ate eaten:eat awoke awoken:awake beat beaten:beat became:become began begun:begin bent:bend bet:bet
bit bitten:bite bled:bleed blew blown:blow broke broken:break bred:breed brought:bring built:build burnt:burn
bought:buy caught:catch chose chosen:choose came:come dealt:deal dug:dig drew drawn:draw dreamt:dream drank drunk:drink
drove driven:drive fell fallen:fall fed:feed felt:feel fought:fight found:find flew flown:fly forbade forbidden:forbid
forgot forgotten:forget forgave forgiven:forgive froze frozen:freeze gave given:give went gone:go grew grown:grow
hung:hang heard:hear hid hidden:hide held:hold kept:keep knelt:kneel knew known:know laid:lay led:lead leapt:leap
learnt:learn left:leave lent:lend lit:light lost:lose made:make meant:mean met:meet mistook mistaken:mistake
paid:pay proved proven:prove rode ridden:ride rang rung:ring rose risen:rise ran:run said:say saw seen:see
sought:seek sold:sell sent:send shook shaken:shake shone:shine shot:shoot showed shown:show shrank shrunk:shrink
sang sung:sing sank sunk:sink sat:sit slept:sleep slid:slide spoke spoken:speak sped:speed spent:spend spun:spin
sprang sprung:spring stood:stand stole stolen:steal stuck:stick stung:sting struck stricken:strike strove striven:strive
swore sworn:swear swept:sweep swam swum:swim swung:swing took taken:take taught:teach tore torn:tear told:tell
thought:think threw thrown:throw understood:understand woke woken:wake wore worn:wear wove woven:weave wept:weep
won:win wound:wind withdrew withdrawn:withdraw wrote written:write children:child men:man women:woman people:person
mice:mouse feet:foot teeth:tooth geese:goose lives:life wives:wife knives:knife leaves:leaf better best:good
worse worst:bad kids:child mom mum mommy:mother dad daddy:father
"""


def _pairs() -> dict[str, str]:
    found: dict[str, str] = {}
    forms: list[str] = []
    for word in _FORMS.split():
        form, colon, plain = word.partition(":")
        forms.append(form)
        if colon:
            found |= dict.fromkeys(forms, plain)
            forms = []
    return found


IRREGULAR = _pairs()
