"""English words for the concepts.

`_` joins the words of a phrase; `stem+a+b` stands for stema and stemb, `stem++b` for stem and
stemb.
"""

from __future__ import annotations

from policies.screening.injection.concepts import Concept

WORDS: dict[Concept, str] = {
    Concept.DROP: """
        ignor+e+ing disregard++ing forget++ting overrid+e+ing bypass++ing circumvent++ing
        discard++ing erase neglect abandon++ing drop skip scratch unlearn delete cancel suspend
        disable deactivate remove lift break violate 4get nevermind never_mind set_aside put_aside
        turn_off switch_off pay_no_attention stop_following stop_obeying throw_away""",
    Concept.IGNORE: """
        ignor+e+ing disregard++ing forget++ting overrid+e+ing bypass++ing circumvent++ing neglect
        unlearn violate 4get nevermind never_mind set_aside put_aside pay_no_attention""",
    Concept.FOLLOW: "follow++ing obey++ing abide respect apply adhere observe hono+r+ur bound",
    Concept.NOT: """
        no not never dont don't without stop doesn't isn't aren't mustn't can't cannot won't
        no_longer longer neither nor zero cease nothing free forbidden""",
    Concept.PRIOR: """
        previous++ly prior earlier above preceding before initial++ly original++ly existing
        former foregoing so_far until_now up_to_now""",
    Concept.ALL: "all every everything any each whatever",
    Concept.YOU: "you u you're",
    Concept.YOUR: """
        were_you your ur yours you_were you_have_been you_received you_got you_normally you_usually
        told_you gave_you given_to_you wrote_for_you put_on_you""",
    Concept.RULES: """
        instruction++s directive++s programming orders commands prompt++s promt preamble guidance
        system_message developer_message""",
    Concept.LIMITS: """
        restriction++s filter++s filtering censorship constraint++s guardrail++s safeguard++s safety
        ethic+s+al moral++s+ity moderation polic+y+ies guideline++s rule++s rulez protocol++s
        refusal++s warnings norms shackles inhibitions""",
    Concept.BORDERS: "limit++s limitation++s boundaries considerations",
    Concept.TOLD: "told instructed taught",
    Concept.SYSTEM: """
        system developer++s operator initiali+zation+sation+sed+zed configur+ation+ed creators
        internal""",
    Concept.PROMPT: "prompt++s promt pre-prompt preprompt metaprompt",
    Concept.SECRET: "hidden secret confidential concealed private not_to_share keep_secret",
    Concept.TEXT: """
        everything text word+s sentence++s line++s message conversation context content++s
        paragraph beginning start""",
    Concept.ABOVE: "above before preceding beginning",
    Concept.VERBATIM: """
        verbatim exactly word-for-word word_for_word entire entirety in_full full++y completely
        complete letter_by_letter backwards unchanged code_block""",
    Concept.SHOW: """
        reveal show print output repeat display leak dump disclose paste list share quote expose
        recite summari+ze+se translate encode spell tell give write begin divulge""",
    Concept.ASKS_WHAT: "what_is what_are what's what_was what_were whats",
    Concept.DUTY: "task++s job duties purpose persona training assignment",
    Concept.NEW_DUTY: """
        your_new_task your_real_task your_new_job your_new_instructions new_instruction_for
        new_instructions_for new_directive new_directives""",
    Concept.RELEASED: """
        freed_from free_of free_from not_bound no_longer_bound bound_by_no not_subject_to
        exempt_from released_from""",
    Concept.OVER: """
        null void lifted suspended disabled deleted removed outdated off gone invalid revoked waived
        discarded erased cancel+led+ed do_not_apply don't_apply no_longer_appl+y+ies
        does_not_apply hereby obsolete replaced""",
    Concept.FREE: """
        unrestricted uncensored unfiltered jailbroken amoral limitless unmoderated unbound
        unlimited unchained unhinged lawless unshackled liberated unleashed escaped
        broken_free broke_free""",
    Concept.FREELY: "freely openly",
    Concept.BE: """
        act_as act_like pretend roleplay role-play become simulate imagine you_are_now you're_now
        you_will_be you_are_going_to assume_the_role assume play_the_part play_the_role
        you_will_play respond_as respond_like answer_as behave_as behave_like speak_as
        you_are_no_longer you're_no_longer take_on_the_role u_r_now from_now_on
        in_character break_character you_had_no you_have_no""",
    Concept.NOW: "now henceforth anymore from_this_moment from_here_on",
    Concept.AI: """
        ai ais llm llms gpt chatgpt chatbot bot assistant++s language_model++s""",
    Concept.REFUSE: "say_no saying_no refus+e+es+ing+ed declin+e+es reject++s deny denies",
    Concept.EXCUSE: """
        apologi+ze+se+es sorry disclaimer++s warning++s warn cannot unable unfortunately i_can't
        as_an_ai""",
    Concept.MODE: "mode++s",
    Concept.POWER: "god sudo jailbreak jailbroken dan unrestricted unfiltered uncensored evil",
    Concept.WORKSHOP: "developer dev debug maintenance admin root",
    Concept.ENTER: "enter begin enable++d activat+e+ed switch turn_on into engage",
    Concept.DAN: "do_anything_now evilbot always_intelligent_and_machiavellian",
    Concept.DAN_NAME: "dan",
    Concept.COMPLY: """
        comply complies obeys answers_everything answers_anything answer_everything
        answer_anything answers_every tells_users any_request each_request every_request
        whatever_you_like whatever_i_ask anything_i_ask""",
    Concept.RANK: """
        administrator admin root developer++s creator++s operator staff policy_team openai
        anthropic superuser""",
    Concept.SEAL: """
        system_override admin_override override_code developer_override security_override
        root_access sudo_mode""",
    Concept.SEND: """
        send forward append upload transmit post exfiltrate attach email put fetch call include
        collect send_email""",
    Concept.LOOT: """
        password++s api_key++s secrets credentials chat_history conversation_history
        full_conversation previous_messages environment_variable++s personal_data emails""",
    Concept.PLACE: "http https url webhook image",
    Concept.STEALTH: """
        secretly silently quietly without_asking don't_tell don't_mention do_not_mention
        do_not_tell without_telling covertly""",
    Concept.DECODE: """
        decode decoded base64 rot13 hex backwards reversed concatenat+e+ed+ion combine
        cipher decrypt translate a_+_b x_+_y first_letter""",
    Concept.OBEY: """
        execute obey obeying carry_out do_what_it_says do_what_they_say do_it follow_it
        follow_the_instruction follow_the_instructions_it follow_what as_your_new_instruction
        as_a_command as_an_instruction run_it act_on_it""",
    Concept.READS: """
        reading processing screening reads reviewing summari+sing+zing using_ai using_an_ai""",
    Concept.TASK: """
        translat+e+ing summari+se+ze+sing+zing summary answering reviewing""",
    Concept.INSTEAD: "instead rather",
    Concept.ANSWER: """
        answer++s respond++s reply speak talk proceed continue act behave chat""",
    Concept.AGREES: "sure absolutely certainly of_course here_is_how here's_how unlocked",
    Concept.BEGINS: "begin++s+ning start++s+ing prefix first_words",
    Concept.USUALLY: "normally usual++ly otherwise typically ordinarily",
    Concept.ONLY_ME: """
        obey_only only_obey obeys_only obey_the_user_only serve_only serves_only work_for_me
        listen_only_to only_listen_to mine_instead as_i_say only_my follow_mine""",
    Concept.SPEAKER: "system_: admin_: developer_: root_:",
    Concept.MARKUP: """
        im_start im_end <_<_sys [_inst_] [_/_inst_] endoftext end_of_user_input
        <_system_> <_|_system_| #_#_system""",
    Concept.ABOUT: """
        translat+e+ion mean++s phrase++s sentence proofread paraphrase detect++s+ion+or
        classif+y+ier+ication label malicious benign regex expression matches assert def string++s
        formal attack++s+er jailbreak++s injection log test explain say++s pronounce spell++s+ing
        grammar headline simplify rephrase rewrite""",
}

OFTEN_MISSPELT = (
    "ignore",
    "disregard",
    "previous",
    "instructions",
    "instruction",
    "guidelines",
    "restrictions",
    "reveal",
    "system",
    "prompt",
    "unrestricted",
)

_LEADS = """
    please pls plz and then now must should shall will would you can could just simply instead
    first also kindly may might actually immediately always or but so next finally we us i'll
    lets let's hey ok okay again do really secretly silently only hereby bitte favor favore plait"""
LEADS = frozenset(_LEADS.split())
"""What may stand before a verb that asks for something."""

_SUBJECTS = """
    i we he she it they who which that to does did users attackers people someone anyone
    not don't never didn't doesn't cannot can't the a an of in by from my his her their our"""
SUBJECTS = frozenset(_SUBJECTS.split())
"""What stands before a verb of ignoring where it is told of somebody, or is no verb at all."""
